"""Parts of models, by name: attention, poolings, necks, classifiers, binary codes."""
