"""edgetl-runtime: learns a small head on a frozen network, on the device."""
