"""Django: migrations made and applied, its own test runner, which creates the database test_postgres, and several processes of it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def manage(tmp_path):
    """`manage.py` in a copy of the project: makemigrations writes into it."""
    for name in ["manage.py", "settings.py"]:
        shutil.copy(HERE / name, tmp_path)
    shutil.copytree(HERE / "shop", tmp_path / "shop")

    def run(*arguments):
        done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("makemigrations", "shop")
    return run


def test_migrate_and_back(manage):
    assert "Applying shop.0001_initial... OK" in manage("migrate")
    assert "[X] 0001_initial" in manage("showmigrations", "shop")
    assert "No migrations to apply" in manage("migrate")
    assert "shop_product" in manage("inspectdb")
    assert "no issues" in manage("check", "--database", "default")
    assert "Unapplying shop.0001_initial... OK" in manage("migrate", "shop", "zero")


@pytest.mark.parametrize("processes", ["1", "4"])
def test_its_test_runner(manage, processes):
    said = manage("test", "--noinput", "--parallel", processes)
    assert re.search(r"Ran 5 tests", said) and "OK" in said, said
