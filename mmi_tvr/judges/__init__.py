"""Judges of whether two skeletons describe one scene (`mmi_tvr.protocols.Judge`). One file per way of asking.

All put the question of prompts/judge.yaml, whose two answers are its words: p = P(positive) / (P(positive) +
P(negative)). Source: Li et al., ACM MM 2024, section 4.3 (L_s).
"""
