"""What does my negative sampler do to my gradient? Proposals compared on one's own embeddings."""

from nsx.audit._audit import audit as audit
from nsx.audit._describe import describe as describe
from nsx.audit._measured import Comparison as Comparison
from nsx.audit._measured import Measured as Measured
from nsx.audit._problem import Problem as Problem
from nsx.audit._problem import from_embeddings as from_embeddings
from nsx.audit._problem import from_scores as from_scores
from nsx.audit._proposals import PROPOSALS as PROPOSALS
from nsx.audit._proposals import NamedLaw as NamedLaw
from nsx.audit._proposals import Proposal as Proposal
from nsx.audit._proposals import Request as Request
from nsx.audit._proposals import named_proposal as named_proposal
from nsx.audit._proposals import register_proposal as register_proposal
from nsx.audit._summary import GradientError as GradientError
from nsx.audit._summary import ProposalAudit as ProposalAudit
from nsx.audit._summary import Report as Report
