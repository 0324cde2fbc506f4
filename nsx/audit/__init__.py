"""What does my negative sampler do to my gradient? Proposals compared on one's own embeddings."""

from nsx.audit._audit import audit as audit
from nsx.audit._problem import Problem as Problem
from nsx.audit._problem import problem as problem
from nsx.audit._problem import problem_from_scores as problem_from_scores
from nsx.audit._proposals import Proposal as Proposal
from nsx.audit._proposals import proposal as proposal
from nsx.audit._summary import Audit as Audit
from nsx.audit._summary import Measured as Measured
from nsx.audit._summary import ProposalAudit as ProposalAudit
