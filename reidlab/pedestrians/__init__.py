"""The built-in data set `pedestrians`: people, drawn from a seed, in six cameras.

`make_pedestrians` writes a whole data set in Market-1501's layout, `draw_pedestrian` draws one picture and its mask,
`draw_person` tells what somebody looks like, `hsv_histogram` is the floor that a learned embedding has to beat.
"""

from reidlab.pedestrians.baseline import hsv_histogram
from reidlab.pedestrians.make import built_in, make_pedestrians
from reidlab.pedestrians.person import Person, draw_person
from reidlab.pedestrians.render import draw_pedestrian
from reidlab.pedestrians.spec import PedestriansSpec

__all__ = [
    "PedestriansSpec",
    "Person",
    "built_in",
    "draw_pedestrian",
    "draw_person",
    "hsv_histogram",
    "make_pedestrians",
]
