"""The API front-ends: types, translation into the model, validation and coverage of upstream fields."""
