"""The Poincare ball with curvature: geometry that keeps its digits up to the boundary, and optimisers for it."""

from nsx.poincare._ball import conformal_factor as conformal_factor
from nsx.poincare._ball import distance as distance
from nsx.poincare._ball import project as project
from nsx.poincare._ball import riemannian_gradient as riemannian_gradient
from nsx.poincare._gyro import gyration as gyration
from nsx.poincare._gyro import mobius_add as mobius_add
from nsx.poincare._gyro import mobius_scale as mobius_scale
from nsx.poincare._lorentz import from_lorentz as from_lorentz
from nsx.poincare._lorentz import lorentz_distance as lorentz_distance
from nsx.poincare._lorentz import lorentz_inner as lorentz_inner
from nsx.poincare._lorentz import lorentz_project as lorentz_project
from nsx.poincare._lorentz import to_lorentz as to_lorentz
from nsx.poincare._lorentz_maps import lorentz_exp_map as lorentz_exp_map
from nsx.poincare._lorentz_maps import lorentz_log_map as lorentz_log_map
from nsx.poincare._lorentz_maps import lorentz_tangent as lorentz_tangent
from nsx.poincare._maps import exp_map as exp_map
from nsx.poincare._maps import geodesic as geodesic
from nsx.poincare._maps import log_map as log_map
from nsx.poincare._maps import midpoint as midpoint
from nsx.poincare._maps import parallel_transport as parallel_transport
from nsx.poincare._optax import RiemannianAdamState as RiemannianAdamState
from nsx.poincare._optax import RiemannianSGDState as RiemannianSGDState
from nsx.poincare._optax import apply_updates as apply_updates
from nsx.poincare._optax import riemannian_adam as riemannian_adam
from nsx.poincare._optax import riemannian_sgd as riemannian_sgd
from nsx.poincare._tree import embed_tree as embed_tree
