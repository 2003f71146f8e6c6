"""What the author of a checkpoint may have meant by a name that fits nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from ansatz.checkpoint import rename_tables
from ansatz.checkpoint.rename import Rule
from ansatz.core.errors import did_you_mean

_AFFORDABLE = 20_000  # Pairs of names to compare; a message may not take seconds to build.


_TABLES = ("BERT", "FLAX", "GLUONCV", "GPT2", "KERAS", "LLAMA", "TORCHVISION")


def table_hint(unexpected: Collection[str], missing: Collection[str]) -> str:
    """The ready-made table that would help if most names are another library's, or nothing.

    Example:
        >>> from ansatz.checkpoint.hints import table_hint
        >>> table_hint(["0.gamma", "0.beta"], ["0.weight", "0.bias"])
        '2 of 2 names in the file would fit with rename=az.checkpoint.rename_tables.GLUONCV'
    """
    wanted = set(missing)
    if len(unexpected) > _AFFORDABLE:
        return ""
    fitting = {
        table: sum(_new_name(getattr(rename_tables, table), name) in wanted for name in unexpected)
        for table in _TABLES
    }
    table = max(fitting, key=fitting.__getitem__)
    prefix = _prefix(unexpected, missing)  # If that alone does it, there is less to say.
    if 2 * fitting[table] <= min(len(unexpected), len(missing)) or (
        prefix is not None and fitting[table] <= prefix[1]
    ):
        return ""
    return (
        f"{fitting[table]} of {len(unexpected)} names in the file would fit with "
        f"rename=az.checkpoint.rename_tables.{table}"
    )


def _new_name(table: Iterable[Rule], name: str) -> str | None:
    new: str | None = name
    for rule in table:
        new = new if new is None else rule(new).name
    return new


def prefix_hint(unexpected: Collection[str], missing: Collection[str]) -> str:
    """The renaming that would help if most names differ by one prefix, or an empty string.

    Example:
        >>> from ansatz.checkpoint.hints import prefix_hint
        >>> prefix_hint(["module.0.weight", "module.0.bias"], ["0.weight", "0.bias"])
        "2 of 2 names in the file only have the prefix 'module.' too much; pass
        rename=az.checkpoint.strip_prefix('module.')"
    """
    too_much = _prefix(unexpected, missing)
    if too_much:
        prefix, fitting = too_much
        return (
            f"{fitting} of {len(unexpected)} names in the file only have the prefix {prefix!r} too "
            f"much; pass rename=az.checkpoint.strip_prefix({prefix!r})"
        )
    too_little = _prefix(missing, unexpected)
    if too_little:
        prefix, fitting = too_little
        return (
            f"{fitting} of {len(unexpected)} names in the file only lack the prefix {prefix!r}; "
            f"pass rename=lambda name: {prefix!r} + name"
        )
    return ""


def _prefix(longer: Collection[str], shorter: Collection[str]) -> tuple[str, int] | None:
    """The prefix that turns most names of `shorter` into names of `longer`."""
    wanted = set(shorter)
    prefixes: Counter[str] = Counter()
    for name in longer:
        dot = name.find(".")
        while dot >= 0:
            if name[dot + 1 :] in wanted:
                prefixes[name[: dot + 1]] += 1
            dot = name.find(".", dot + 1)
    if not prefixes:
        return None
    prefix, fitting = prefixes.most_common(1)[0]
    return (prefix, fitting) if 2 * fitting > min(len(longer), len(shorter)) else None


def computed_hint(unexpected: Collection[str], missing: Collection[str]) -> str:
    """What to do if only one side computes its weights (`az.lora`, `az.parametrize`), or nothing.

    Example:
        >>> from ansatz.checkpoint.hints import computed_hint
        >>> computed_hint(["0.weight"], ["0.parametrizations.weight.original"])
        "'0.weight' is computed in this network and plain in the file; load first, and call az.lora,
        az.parametrize or nn.weight_norm afterwards"
    """
    plain = next((name for name in map(_plain_name, missing) if name in unexpected), "")
    if plain:
        return (
            f"{plain!r} is computed in this network and plain in the file; load first, and call "
            "az.lora, az.parametrize or nn.weight_norm afterwards"
        )
    plain = next((name for name in map(_plain_name, unexpected) if name in missing), "")
    if plain:
        return (
            f"{plain!r} is plain in this network and computed in the file; call what was called "
            "on the network that was saved (az.lora, az.parametrize, nn.weight_norm) before "
            "loading, or save it anew after az.merge(net) or az.unparametrize(net)"
        )
    return ""


def _plain_name(name: str) -> str:
    """`0.weight` for `0.parametrizations.weight.original` and `….original0`; else nothing."""
    before, found, after = name.rpartition("parametrizations.")
    weight, _, last = after.partition(".")
    return before + weight if found and last in ("original", "original0") else ""


def near(name: str, candidates: Iterable[str], rivals: int = 1) -> str:
    """`did you mean …?` where a candidate is near, and comparing them all is affordable.

    Args:
        name: the name that fits nothing.
        candidates: the names that would.
        rivals: how many names will be compared with these candidates.
    """
    known = list(candidates)
    if len(known) * rivals > _AFFORDABLE:
        return ""
    return did_you_mean(name, known).removeprefix("; ")
