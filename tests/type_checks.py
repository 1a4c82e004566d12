"""What run-time checks hold annotations to: as mypy does, a whole number passes for a float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
