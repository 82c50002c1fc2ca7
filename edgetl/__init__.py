"""edgetl, the host side: take a pretrained network to a robot and let it go on learning there."""
