"""How a tensor that is asked for is made of the tensors of a source.

    Taken("q")                                            as it is
    Made(Transpose((1, 0)), (Taken("w"),))                one tensor, changed
    Made(Concatenate(0), (Taken("q"), Taken("k")))        several made one

A recipe is a value: it says what it needs and what comes of it before anything is read.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..source import Source
from ..spec import TensorSpec

if TYPE_CHECKING:
    import numpy as np


class Step(ABC):
    """One change of values.  It is a frozen dataclass, so that recipes can be compared."""

    @abstractmethod
    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return what comes of tensors of *specs*; the name and the role are those of the first.

        Raise RuleError saying what does not fit: both shapes, and what the step asked for.
        """

    @abstractmethod
    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        """Return what comes of *arrays*, which are not changed; where that will do, a view."""

    def inverse(self, specs: Sequence[TensorSpec]) -> "tuple[Recipe, ...] | None":
        """Return the recipes that give back tensors of *specs*, or None where something is lost.

        Their input is `Taken("")`, what this step makes.
        """
        return None

    def of(self, inputs: "tuple[Recipe, ...]") -> "Recipe":
        """Return the recipe of what this step makes of *inputs*; a step back is none."""
        return Made(self, inputs)

    def forget(self) -> None:  # noqa: B027  (most keep nothing)
        """Let go of what is kept from one `value` to the next, as what was drawn at random is."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the step as a rule writes it: "transpose 1 0"."""


class Taken(NamedTuple):
    """A tensor of the source as it is.  (A tuple: there may be a million.)"""

    name: str


def taken(names: Iterable[str]) -> dict[str, "Recipe"]:
    """Return each of *names* with the recipe that takes it as it is.

    Of a hundred thousand at once each costs half of what it costs alone.
    """
    names = list(names)
    return dict(zip(names, map(partial(tuple.__new__, Taken), zip(names)), strict=True))


class Made(NamedTuple):
    """What a step makes of one recipe or several."""

    step: Step
    inputs: "tuple[Recipe, ...]"


Recipe = Taken | Made

#: Makes a recipe of a step and its inputs, in half the time.
made_as_it_is: Callable[[tuple[Step, tuple[Recipe, ...]]], Made]
made_as_it_is = partial(tuple.__new__, Made)


def names_in(recipe: Recipe) -> Iterator[str]:
    """Yield the tensors that *recipe* needs, the first one first, each as often as it is needed."""
    if isinstance(recipe, Taken):
        yield recipe.name
        return
    for part in recipe.inputs:
        yield from names_in(part)


def distinct_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the tensors that *recipe* needs, the first one first, each once."""
    while isinstance(recipe, Made) and len(recipe.inputs) == 1:
        recipe = recipe.inputs[0]
    if isinstance(recipe, Taken):
        return (recipe.name,)
    return tuple(dict.fromkeys(names_in(recipe)))


def tensors_in(recipes: Iterable[Recipe]) -> set[str]:
    """Return the tensors that any of *recipes* needs."""
    names: set[str] = set()
    for recipe in recipes:
        if isinstance(recipe, Taken):
            names.add(recipe.name)
        elif len(recipe.inputs) == 1 and isinstance(one := recipe.inputs[0], Taken):
            names.add(one.name)
        else:
            names.update(names_in(recipe))
    return names


def first_name(recipe: Recipe) -> str:
    """Return the first tensor that *recipe* takes, by which it is known."""
    while isinstance(recipe, Made):
        recipe = recipe.inputs[0]
    return recipe.name


def specs_by_every_name(source: Source) -> dict[str, TensorSpec]:
    """Return what each tensor of *source* is by each of its names."""
    specs = specs_in(source)
    specs.update({alias: specs[own] for alias, own in source.aliases.items()})
    return specs


def specs_in(source: Source) -> dict[str, TensorSpec]:
    """Return a copy of the specs of *source*, by one pass: a lazy mapping finds names slowly."""
    specs = source.specs
    return dict(specs) if isinstance(specs, dict) else dict(specs.items())


def spec_from(recipe: Recipe, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    """Return what *recipe* makes of tensors of *specs*, under the name of the first of them."""
    if isinstance(recipe, Taken):
        return specs[recipe.name]
    return recipe.step.spec([spec_from(part, specs) for part in recipe.inputs])


@dataclass(frozen=True, slots=True)
class SpecsOf:
    """What recipes make of tensors, by shapes worked out once: of very many tensors few differ."""

    tensors: Mapping[str, TensorSpec]
    _made: dict[tuple[int, str, tuple[int, ...]], TensorSpec] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)  # so that none takes the place of another

    def recipe(self, recipe: Recipe) -> TensorSpec:
        """Return `spec_from` of *recipe*."""
        if isinstance(recipe, Taken):
            return self.tensors[recipe.name]
        step, inputs = recipe
        if len(inputs) != 1:
            return step.spec([self.recipe(part) for part in inputs])
        inner = inputs[0]
        spec = self.tensors[inner.name] if isinstance(inner, Taken) else self.recipe(inner)
        key = id(step), spec.dtype, spec.shape
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = step.spec([spec])
            self._steps.append(step)
        return spec.like(made)


def value_from(recipe: Recipe, read: "Callable[[str], np.ndarray]") -> "np.ndarray":
    """Return the values that *recipe* makes of what *read* gives by name."""
    if isinstance(recipe, Taken):
        return read(recipe.name)
    return recipe.step.value([value_from(part, read) for part in recipe.inputs])


def forget(recipe: Recipe) -> None:
    """Let the steps of *recipe* let go of what they keep: its values have been used."""
    if isinstance(recipe, Made):
        recipe.step.forget()
        for part in recipe.inputs:
            forget(part)


def steps_of(recipe: Recipe) -> list[str]:
    """Return what is done to the tensors of *recipe*, in words, the first step first."""
    if isinstance(recipe, Taken):
        return []
    earlier = [text for part in recipe.inputs for text in steps_of(part)]
    return [*dict.fromkeys(earlier), str(recipe.step)]


def without_aliases(recipe: Recipe, aliases: Mapping[str, str]) -> Recipe:
    """Return *recipe* with every tensor under its own name (alias -> that)."""
    if isinstance(recipe, Taken):
        own = aliases.get(recipe.name)
        return recipe if own is None else Taken(own)
    return Made(recipe.step, tuple(without_aliases(part, aliases) for part in recipe.inputs))


def with_inputs(recipe: Recipe, inputs: "Mapping[str, Recipe]") -> Recipe:
    """Return *recipe* with other recipes in place of the tensors it takes, by their names."""
    if isinstance(recipe, Taken):
        return inputs.get(recipe.name, recipe)
    return recipe.step.of(tuple(with_inputs(part, inputs) for part in recipe.inputs))


def made(step: Step, *inputs: Any) -> Recipe:
    """Return what *step* makes of *inputs*, recipes or names."""
    return step.of(tuple(Taken(i) if isinstance(i, str) else i for i in inputs))


def after(recipe: Recipe, steps: Iterable[Step]) -> Recipe:
    """Return *recipe* with *steps* done to what it makes, the first one first."""
    for step in steps:
        recipe = made(step, recipe)
    return recipe
