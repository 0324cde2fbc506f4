"""What a proposal does to the gradient: exact expectations, bias, variance, and estimators with their own bias."""

from nsx.bias._chunked import expectation_over_samples as expectation_over_samples
from nsx.bias._chunked import expected_gradient_of as expected_gradient_of
from nsx.bias._estimators import Estimate as Estimate
from nsx.bias._estimators import importance_weighted as importance_weighted
from nsx.bias._estimators import monte_carlo as monte_carlo
from nsx.bias._estimators import self_normalised as self_normalised
from nsx.bias._estimators import self_normalised_bias as self_normalised_bias
from nsx.bias._exact import cosine as cosine
from nsx.bias._exact import expected_gradient as expected_gradient
from nsx.bias._exact import gradient_variance as gradient_variance
from nsx.bias._exact import signal_to_noise as signal_to_noise
from nsx.bias._shift import bias_bound as bias_bound
from nsx.bias._shift import chi_square as chi_square
from nsx.bias._shift import gradient_bias as gradient_bias
