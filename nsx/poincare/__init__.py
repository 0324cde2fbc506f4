"""The Poincare ball with curvature: geometry that keeps its digits up to the boundary, and optimisers for it."""

from nsx.poincare._ball import conformal_factor as conformal_factor
from nsx.poincare._ball import distance as distance
from nsx.poincare._ball import project as project
from nsx.poincare._ball import riemannian_gradient as riemannian_gradient
from nsx.poincare._gyro import gyration as gyration
from nsx.poincare._gyro import mobius_add as mobius_add
from nsx.poincare._gyro import mobius_scale as mobius_scale
from nsx.poincare._hierarchy import transitive_closure as transitive_closure
from nsx.poincare._maps import exp_map as exp_map
from nsx.poincare._maps import geodesic as geodesic
from nsx.poincare._maps import log_map as log_map
from nsx.poincare._maps import midpoint as midpoint
from nsx.poincare._maps import parallel_transport as parallel_transport
