"""Types of arrays and tensors with their shapes, such as `Float[np.ndarray, "N 4"]`.

Type checkers see those of jaxtyping. When a program runs, each is the plain type: to import jaxtyping would take longer
than to find the people of an image.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8, UInt16
else:

    class _Shaped:
        def __class_getitem__(cls, type_and_shape: tuple[Any, str]) -> Any:
            return type_and_shape[0]

    Bool = Float = Int = Shaped = UInt8 = UInt16 = _Shaped

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt8", "UInt16"]
