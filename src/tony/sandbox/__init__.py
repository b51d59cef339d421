"""Run untrusted Python programs and trust the verdict: no daemon, no container, no root."""

from tony.sandbox.layers import LAYERS, Report
from tony.sandbox.limits import Limits
from tony.sandbox.profiles import Case, FunctionProgram, Program, ScriptProgram
from tony.sandbox.sandbox import Sandbox, describe_layers, probe
from tony.sandbox.verdict import Ending, Verdict

__all__ = [
    "LAYERS",
    "Case",
    "Ending",
    "FunctionProgram",
    "Limits",
    "Program",
    "Report",
    "Sandbox",
    "ScriptProgram",
    "Verdict",
    "describe_layers",
    "probe",
]
