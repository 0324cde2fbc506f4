"""Hierarchies embedded by their relations: the trainer of Nickel and Kiela in the ball, the hyperboloid or flat space.

`train` does all of it; `plan`, `init` and `epoch` are its parts, for loops of one's own. `reconstruction` judges.
"""

from nsx.hierarchies._closure import transitive_closure as transitive_closure
from nsx.hierarchies._epoch import Info as Info
from nsx.hierarchies._epoch import State as State
from nsx.hierarchies._epoch import epoch as epoch
from nsx.hierarchies._epoch import init as init
from nsx.hierarchies._evaluate import Reconstruction as Reconstruction
from nsx.hierarchies._evaluate import reconstruction as reconstruction
from nsx.hierarchies._geometries import Chart as Chart
from nsx.hierarchies._geometries import Geometry as Geometry
from nsx.hierarchies._geometries import Pull as Pull
from nsx.hierarchies._geometries import Scale as Scale
from nsx.hierarchies._geometries import ball_geometry as ball_geometry
from nsx.hierarchies._geometries import euclidean_geometry as euclidean_geometry
from nsx.hierarchies._geometries import lorentz_geometry as lorentz_geometry
from nsx.hierarchies._plan import Plan as Plan
from nsx.hierarchies._plan import plan as plan
from nsx.hierarchies._train import Training as Training
from nsx.hierarchies._train import train as train
