"""The proof of a forwarding mode: captures, each packet's way put together, and its judgement."""

from lvslab.verify.verification import Verification as Verification
from lvslab.verify.verification import verify as verify
