"""A run folder: the only place that ties the parts together and knows the folder's layout.

Every stage is a generator of records and leaves its result in the folder. No clock enters `log.jsonl`;
timings have their own file.
"""

from cadenza.runs.comparison import compare
from cadenza.runs.folder import Run, open_run
from cadenza.runs.pictures import write_plots
from cadenza.runs.reproduction import reproduce
from cadenza.runs.results import improvise
from cadenza.runs.stages import carry_out, evaluate, report, train

__all__ = [
    "Run",
    "carry_out",
    "compare",
    "evaluate",
    "improvise",
    "open_run",
    "report",
    "reproduce",
    "train",
    "write_plots",
]
