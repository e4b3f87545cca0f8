"""What sentences say: entities, actions, relations, role graphs and the vectors of their words."""
