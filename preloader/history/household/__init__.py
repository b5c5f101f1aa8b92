"""A seeded simulation of a household voice assistant that knows its own probabilities.

::

    household = Household(seed=7, users=4, days=28)
    history = list(household.events())
    household.truth(context)  # how likely each component really is next
"""

from preloader.history.household.home import ARCHETYPES, SimulatedComponent
from preloader.history.household.reading import HouseholdReader, household_name, read_household
from preloader.history.household.registry import components_toml
from preloader.history.household.simulation import Household, HouseholdSession

__all__ = [
    "ARCHETYPES",
    "Household",
    "HouseholdReader",
    "HouseholdSession",
    "SimulatedComponent",
    "components_toml",
    "household_name",
    "read_household",
]
