"""Operators with several implementations behind one public function."""
