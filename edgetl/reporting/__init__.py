"""The pages of bundles: of a build, of a measurement of its variants, of what a recorded stream did to its head."""
