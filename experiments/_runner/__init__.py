"""What a claim is written with, and what runs it: declarations, checks, figures, and the report made of them."""

from experiments._runner.checks import Check as Check
from experiments._runner.checks import at_least as at_least
from experiments._runner.checks import at_most as at_most
from experiments._runner.checks import equal as equal
from experiments._runner.checks import interval_at_least as interval_at_least
from experiments._runner.checks import interval_at_most as interval_at_most
from experiments._runner.checks import mean_at_least as mean_at_least
from experiments._runner.checks import mean_at_most as mean_at_most
from experiments._runner.checks import mean_equal as mean_equal
from experiments._runner.checks import paired_interval as paired_interval
from experiments._runner.checks import student_margin as student_margin
from experiments._runner.declarations import Claim as Claim
from experiments._runner.declarations import Sentence as Sentence
from experiments._runner.figure import Figure as Figure
