"""Export to ONNX, checked against torch before the file gets its name.

The packages of the extra `export` (onnx, onnxscript, onnxruntime) are imported where they are used: nothing else needs
them.
"""

from reidlab.export.check import Check, check_onnx
from reidlab.export.request import check_request
from reidlab.export.write import ExportReport, export_onnx

__all__ = ["Check", "ExportReport", "check_onnx", "check_request", "export_onnx"]
