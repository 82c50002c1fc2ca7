"""The classifier is found by running the network, whatever it is called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.backbones.cut import cut_classifier, used_keys
from edgetl.errors import BackboneError

IMAGE = torch.zeros(1, 3, 16, 16)


def body():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Odd(nn.Module):
    """Layers in an order of names and of registration that says nothing of the order in which they run."""

    def __init__(self):
        super().__init__()
        self.a_last = nn.Linear(6, 4)
        self.body = body()
        self.z_unused = nn.Linear(6, 9)
        self.aside = nn.Linear(6, 5)

    def forward(self, x):
        x = self.body(x)
        logits = self.a_last(x)
        self.seen = self.aside(x).detach()  # runs after the classifier and leads nowhere
        return logits.log_softmax(1)


def test_the_last_layer_that_leads_to_the_logits_is_cut():
    network = Odd().eval()
    expected = network.body(IMAGE)
    cut = cut_classifier(network, IMAGE, "odd")
    assert (cut.classifier, cut.dim, cut.classes) == ("a_last", 6, 4)
    assert torch.equal(network(IMAGE), expected.log_softmax(1))


def test_a_convolution_may_be_the_classifier():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))
    assert cut_classifier(network.eval(), IMAGE, "squeeze").classifier == "2"
    assert network(IMAGE).shape == (1, 8, 1, 1)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(body(), nn.Linear(6, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(body(), nn.Linear(6, 4), nn.Unflatten(1, (2, 2)), nn.AdaptiveAvgPool1d(1)),
        nn.Sequential(nn.Flatten(), nn.ReLU()),
    ],
    ids=["ends in a norm", "ends in a convolution", "not its outputs", "no layer"],
)
def test_a_network_without_a_classifier_is_an_error_that_names_the_way_out(network):
    with pytest.raises(BackboneError, match=r"from_module|one tensor"):
        cut_classifier(network.eval(), IMAGE, "net")


def test_two_classifiers_are_an_error():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.one, self.two = body(), nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x):
            x = self.body(x)
            return self.one(x) + self.two(x)

    with pytest.raises(BackboneError, match=r"from_module|does not run"):
        cut_classifier(Two().eval(), IMAGE, "two")


def test_only_what_the_features_depend_on_must_be_in_a_file():
    network = Odd().eval()
    cut_classifier(network, IMAGE, "odd")
    assert used_keys(network, IMAGE, "odd") == {"body.0.weight", "body.0.bias"}


def test_batch_statistics_of_layers_that_run_are_needed_and_of_others_not():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.extra = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))

        def forward(self, x):
            return self.main(x) if not self.training else self.extra(x)

    keys = used_keys(Auxiliary().eval(), IMAGE, "auxiliary")
    assert {"main.1.running_mean", "main.1.running_var", "main.1.weight"} <= keys
    assert not [key for key in keys if key.startswith("extra") or "tracked" in key]
