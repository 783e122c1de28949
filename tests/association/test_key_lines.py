"""Lines of keys in awkward TOML: every value in these texts is the number of the line it stands on, says the parser."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avcd.association.lines import key_lines

AWKWARD = '''\
# [not.a.table]
top = 2 # = [x]
"quoted key" = 3
'literal.key' = 4
dotted . "with space" . 'and more'=5
text = """
[age]
days = 7
escaped \\""" quote
""""
after_text = 11
literal = \'\'\'
fake = 13 # no comment
\'\'\'\'
after_literal = 15
"escaped \\" quote \\u00e9" = 16
date = 1979-05-27 07:32:00 # 17 = 17
[age]
bias_days = [ 19, 19, # ] 20
  # [x]
  21,
  [22, 22], "a ] , }", { x = 22, "y" = [22] },
]

[ spaced . "table.name" ] # trailing
key = 26
inline = { a = 27, b.c = 27, "d e" = { f = 27 }, s = "}, z = 1", g = [ 27,
  28 ] }
empty = {}
none = []
[age.deeper]
k=32
[[many]]
n = 34
[many.sub]
n = 36
[[many]]
n = 38
[[many.inner]]
n = 40
[[many.inner]]
n = 42
["a"."b.c"]
1234 = 44
-dash_ = 45
negative = "-1 } ] , # no"
[instrument."ZWO ASI294*".scaling]
lowest = 48
"" = 49
\tindented\t=\t50
'''


def leaves(table: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    if isinstance(table, dict | list):
        for key, value in table.items() if isinstance(table, dict) else enumerate(table):
            yield from leaves(value, (*path, key))
    else:
        yield path, table


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_number_stands_on_its_line(ending):
    # A file read as text has lost its carriage returns; a text from elsewhere may not.
    text = AWKWARD.replace("\n", ending)
    found = key_lines(text)
    numbers = {path: value for path, value in leaves(tomllib.loads(text)) if isinstance(value, int)}
    assert len(numbers) > 30
    assert {path: found[path] for path in numbers} == numbers


def test_tables_and_texts_stand_where_they_are_named():
    found = key_lines(AWKWARD)
    expected = {
        ("age",): 18, ("age", "bias_days"): 19, ("spaced", "table.name"): 25, ("spaced", "table.name", "inline"): 27,
        ("text",): 6, ("date",): 17, ("many",): 33, ("many", 0): 33, ("many", 1): 37, ("many", 0, "sub"): 35,
        ("many", 1, "inner", 1): 41, ("dotted",): 5, ("instrument",): 47, ("instrument", "ZWO ASI294*"): 47,
    }  # fmt: skip
    assert {path: found[path] for path in expected} == expected
    parents = {path[:end] for path, _ in leaves(tomllib.loads(AWKWARD)) for end in range(1, len(path) + 1)}
    assert parents <= set(found)


def test_a_table_that_follows_its_own_parts_stands_on_its_header():
    assert key_lines("[a.b]\nx = 1\n[a]\ny = 2\n")[("a",)] == 3
    assert key_lines("") == {}
    assert key_lines("# nothing\n") == {}


KEYS = st.text(alphabet="ab .*#[]='\"é\\", max_size=4) | st.sampled_from(["plain", "with-dash", "12"])


def quoted(key: str, style: int) -> str:
    if style == 0 and key and all((one.isalnum() and one.isascii()) or one in "-_" for one in key):
        return key
    if style == 1 and "'" not in key:
        return f"'{key}'"
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_keys_in_any_style(data):
    lines: list[str] = []
    for name in data.draw(st.lists(KEYS, unique=True, max_size=5)):
        lines += data.draw(st.sampled_from([[], [""], ["# [x]", "  # y = 1"], ["\t"]]))
        header = [quoted(one, data.draw(st.integers(0, 2))) for one in (name, "t")]
        lines.append(data.draw(st.sampled_from(["[{}]", "[ {} ]  # ]", "\t[{}]"])).format(" . ".join(header)))
        for key in data.draw(st.lists(KEYS, unique=True, max_size=4)):
            word = quoted(key, data.draw(st.integers(0, 2)))
            here = len(lines) + 1
            kind = data.draw(st.integers(0, 4))
            if kind == 0:
                lines.append(f"{word} = {here} # [z]")
            elif kind == 1:
                lines.append(f"{word}.{word} = {here}")
            elif kind == 2:
                lines += [f"{word} = [ # [", f"  {here + 1}, [{here + 1}],", f'"]", {here + 2} ]']
            elif kind == 3:
                lines.append(f"{word} = {{ {word} = {here}, z.{word} = [{here}] }}" if key != "z" else f"z = {here}")
            else:
                lines += [f'{word} = """', "a = 1", '\\" [b] """']
    text = "\n".join(lines)
    found = key_lines(text)
    numbers = {path: value for path, value in leaves(tomllib.loads(text)) if isinstance(value, int)}
    assert {path: found[path] for path in numbers} == numbers
