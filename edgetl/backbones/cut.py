"""Cut a classification network at its own last classifier, found by running it, not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgetl.errors import BackboneError

if TYPE_CHECKING:
    import torch

__all__ = ["Cut", "cut_classifier", "used_keys"]


@dataclass(frozen=True)
class Cut:
    """Where a network was cut: the classifier's dotted name, the D features it took, the K classes it gave."""

    classifier: str
    dim: int
    classes: int


def cut_classifier(network: torch.nn.Module, example: torch.Tensor, name: str) -> Cut:
    """Replace the classifier of `network` (eval mode) by Identity, in place; D features come out where K logits did.

    The classifier is the last parametrised layer to run whose output leads to the logits, which autograd
    tells: a Linear layer, or a 1x1 convolution as in SqueezeNet. `example` is one normalised input, 1 C H W.
    Raises BackboneError when the last layer is neither, or the logits are not its K outputs.
    """
    import torch

    layers: list[tuple[str, torch.nn.Module, Any]] = []
    hooks = [
        module.register_forward_hook(_recorder(layers, path))
        for path, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False)) and not any(True for _ in module.children())
    ]
    try:
        logits = _run(network, example, name)
    finally:
        for hook in hooks:
            hook.remove()
    reached = set(_autograd_nodes(logits.grad_fn))
    path, layer = next(((path, layer) for path, layer, node in reversed(layers) if node in reached), ("", None))
    if isinstance(layer, torch.nn.Linear):
        cut = Cut(path, layer.in_features, layer.out_features)
    elif isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        cut = Cut(path, layer.in_channels, layer.out_channels)
    else:
        raise BackboneError(
            f"{name} ends in {path or 'no layer'} ({type(layer).__name__}), which is no classifier; take the "
            "network without its end and use edgetl.backbones.from_module"
        )
    if logits.flatten(1).shape[1] != cut.classes or sum(other is layer for _, other, _ in layers) != 1:
        raise BackboneError(
            f"{name}: its last layer {path} gives {cut.classes} values, but the output has shape "
            f"{tuple(logits.shape)}; take the network without its end and use edgetl.backbones.from_module"
        )
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, torch.nn.Identity())
    dim = _run(network, example, name).flatten(1).shape[1]
    if dim != cut.dim:
        raise BackboneError(
            f"{name}: without {path} it gives {dim} features, though {path} took {cut.dim}; it has more than one "
            "classifier. Take the network without its end and use edgetl.backbones.from_module"
        )
    return cut


def used_keys(network: torch.nn.Module, example: torch.Tensor, name: str) -> frozenset[str]:
    """Names of the floating-point parameters and buffers that the output of `network` depends on.

    An auxiliary head that does not run in eval mode is not among them, so no weights file must hold it.
    """
    ran: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda _module, _inputs, path=path: ran.add(path))
        for path, module in network.named_modules()
    ]
    try:
        features = _run(network, example, name)
    finally:
        for hook in hooks:
            hook.remove()
    leaves = {id(getattr(node, "variable", None)) for node in _autograd_nodes(features.grad_fn)}
    names = {key for key, value in network.named_parameters(remove_duplicate=False) if id(value) in leaves}
    persistent = network.state_dict().keys()
    for key, value in network.named_buffers(remove_duplicate=False):
        if key in persistent and value.is_floating_point() and key.rpartition(".")[0] in ran:
            names.add(key)
    return frozenset(names)


def _run(network: torch.nn.Module, example: torch.Tensor, name: str) -> torch.Tensor:
    """Output of one sample with autograd on, whatever the caller's mode."""
    import torch

    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with torch.inference_mode(False), torch.enable_grad():
            output = network(example)
    except Exception as error:  # whatever the network raises
        raise BackboneError(
            f"{name} does not run on an input of shape {tuple(example.shape)}: {error}. "
            "Leave `size` at its default, or choose a network that takes any size"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim < 2 or output.grad_fn is None:
        raise BackboneError(f"{name} must give one tensor (N, K), got {type(output).__name__}")
    return output


def _recorder(layers: list[tuple[str, torch.nn.Module, Any]], path: str) -> Any:
    def record(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        layers.append((path, module, getattr(output, "grad_fn", None)))

    return record


def _autograd_nodes(node: Any) -> Iterator[Any]:
    """`node` and all before it."""
    stack, seen = [node], {node}
    while stack:
        current = stack.pop()
        yield current
        for before, _ in current.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                stack.append(before)
