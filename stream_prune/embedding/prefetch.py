"""Asking the processor for a cache line before it is needed, in compiled loops."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

AHEAD = 32
"""So many elements ahead, memory has the time to answer.

53,000 look-ups among a million ids take .54 ms, with 8 ahead .75, with 64 as long.
"""


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Hint that ``array[place]`` is read soon, by the flat place in a contiguous array.

    Only a hint: it changes no result, and a place beyond the array's end does no harm.
    """
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        start = context.make_array(kind)(context, builder, arguments[0]).data
        offset = builder.mul(arguments[1], ir.Constant(arguments[1].type, size))
        line = builder.gep(builder.bitcast(start, ir.IntType(8).as_pointer()), [offset])
        number = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch",
            (line.type,),
            ir.FunctionType(ir.VoidType(), [line.type, number, number, number]),
        )
        builder.call(hint, [line, number(0), number(3), number(1)])  # to read, often, as data
        return context.get_dummy_value()

    return types.void(array, place), emit
