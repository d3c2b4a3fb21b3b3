"""Parts of a reply, each made of the one before: values like any other message, none of which changes."""

from __future__ import annotations

import base64
import copy
import pickle
import weakref
import zlib
from typing import Any, Final

import attrs
import pytest

from chatgpt import ChatMessage, Usage
from chatgpt.core.messages import TextBuffer

FIELDS: Final = [each.name for each in attrs.fields(ChatMessage)]
PICKLE: Final = base64.b85decode(
    b"c-lo!Jx>EM4DI!U>Pjo<z<+?He}e((1|;SvByKO_E;$k(WkG_0p^~?TnLonTKZY;;%Hq6d`#syA!=GK&OOI|;DRI@{"
    b"LOBnM8bXjO2$6E(As}-)ZsSM1rM}UTG8t)z@Q#tj_kQ=c`voSvtGdtz@EokHAr>^!P$8EOQcdn*?F}N>xS`wxQ5vli"
    b"m^adcMRBkeY*Wyca`p{;kZ7FUQx_UgnyOQ-9cy==w(E#xk48`Fw~cpSY1mogUEQES_X0M=hm7Wmi3*b5k?qqI9m?uN"
    b"4CvZ}49*(6I+6v=lvE|?Gm-OUOf8XbvuU4cwlvm+QtVs1{7Hntm{&;`D`=uP!CgWo<l(htrTuynsg!H&0bQ<*2eC9z"
    b">CSMPtVJpaydY)3(}(suKE}mAFOs=5"
)
"""A part of a version whose messages had slots, compressed."""


def parts() -> list[ChatMessage]:
    text, thoughts = TextBuffer(), TextBuffer()
    first = ChatMessage(id="a", text=text.append("Grü"), role="assistant", delta="Grü")
    second = first._following(text.append("ße"), thoughts.append("hm"), "ße", {"number": 2})
    return [first, second, second._following(text.append("!"), thoughts.snapshot(), "!", None)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_each_part_equals_the_message_that_says_the_same(order: list[int]) -> None:
    first = ChatMessage(id="a", text="Grü", role="assistant", delta="Grü")
    second = attrs.evolve(first, text="Grüße", delta="ße", reasoning="hm", detail={"number": 2})
    plain = [first, second, attrs.evolve(second, text="Grüße!", delta="!", detail=None)]
    made = parts()
    for number in order:
        assert made[number].text == plain[number].text
        assert repr(made[number]) == repr(plain[number])
        assert attrs.evolve(made[number], text="other").text == "other"
    for part in made:
        assert copy.deepcopy([part])[0] is weakref.ref(part)() is part
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(part, protocol)) == part
    assert made == plain


@pytest.mark.parametrize("name", [*FIELDS, "text", "usage", "new", "__dict__"])
def test_nothing_of_a_part_can_be_changed(name: str) -> None:
    part = parts()[1]
    with pytest.raises(attrs.exceptions.FrozenError):
        setattr(part, name, {})
    with pytest.raises(attrs.exceptions.FrozenError):
        delattr(part, name)
    with pytest.raises(TypeError, match="unhashable"):
        hash(part)
    assert vars(part) == vars(part) | {"id": "a", "role": "assistant", "delta": "ße"}


def test_a_pickle_of_a_version_with_slots_is_read_and_ours_is_made_alike() -> None:
    restored: Any = pickle.loads(zlib.decompress(PICKLE))
    assert (restored.text, restored.delta) == ("Grüße", "ße")
    assert restored.usage == Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    assert restored.token_counts == {"e": 2}
    restore, (state,) = restored.__reduce__()
    assert (restore.__module__, restore.__qualname__) == ("chatgpt.core.messages", "_restored")
    assert state == {name.removeprefix("_"): getattr(restored, name) for name in FIELDS}
