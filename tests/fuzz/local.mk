# tests/fuzz: parsers against bytes, sequences against a model.
