"""The role graph of a sentence as a network: nodes of its words, and one attention layer over its edges.

Source: MCSAN takes the graph of HANet, without its sentence node; this is what HGR and HANet run, which is simpler than
the relational graph network of their texts: one weight for all edges, and roles enter as factors of the nodes.
"""

from __future__ import annotations

from torch import Tensor, nn

from .pooling import masked_maximum, masked_softmax


class RoleGraphEncoder(nn.Module):
    """Word states -> nodes (verbs, then phrases) that know their neighbours.

    A node is the largest value, per channel, of its words' states, times the vector of its role. One layer follows:
    LayerNorm(x_i + Dropout(W sum_j a_ij x_j)), a_ij the softmax over i's neighbours j of (Q x_i) . (K x_j) / sqrt(d/2).
    A node without neighbours keeps its own state, layer-normed; what is no node is zero.
    """

    def __init__(self, width: int, roles: int, dropout: float = 0.5) -> None:
        """Make the layer.

        Args:
            width: d, of word states and nodes.
            roles: how many roles there are.
            dropout: of what a node hears from its neighbours, while training.
        """
        super().__init__()
        self.roles = nn.Embedding(roles, width)
        nn.init.ones_(self.roles.weight)  # decision: a role changes nothing until it is learned
        self.query = nn.Linear(width, width // 2)
        self.key = nn.Linear(width, width // 2)
        self.context = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, masks: Tensor, roles: Tensor, edges: Tensor) -> Tensor:
        """Return the nodes (B, G, d).

        Args:
            words: (B, M, d), states of words.
            masks: (B, G, M) bool, the words of each node; a row without any is no node.
            roles: (B, G) int64, the number of each node's role.
            edges: (B, G, G), above 0 where two nodes are neighbours (`lexicon.roles.RoleArrays`).
        """
        present = masks.any(dim=-1)[..., None]  # (B, G, 1)
        states = masked_maximum(words[:, None], masks)  # (B, G, d)
        nodes = states * self.roles(roles) * present
        scores = self.query(nodes) @ self.key(nodes).transpose(1, 2) / self.query.out_features**0.5  # (B, G, G)
        context = masked_softmax(scores, edges > 0) @ nodes
        encoded: Tensor = self.norm(nodes + self.dropout(self.context(context))) * present
        return encoded
