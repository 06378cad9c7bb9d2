"""Rows that arrive in blocks: files, streams, memory maps, Dask collections."""

from skbilevel.blocks._block import Block
from skbilevel.blocks._row_blocks import RowBlocks

__all__ = ["Block", "RowBlocks"]
