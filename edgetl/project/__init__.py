"""The project file, edgetl.toml: what the commands, and Python, are told of data, network, recipe and boards."""

from __future__ import annotations

from edgetl.project.reading import FILE, Project, parse_output, read_project
from edgetl.project.settings import SETTINGS
from edgetl.project.survey import Survey, survey
from edgetl.project.writing import init_project

__all__ = ["FILE", "SETTINGS", "Project", "Survey", "init_project", "parse_output", "read_project", "survey"]
