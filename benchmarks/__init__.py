"""Speed and memory of taskgrove, as ratios against a raw baseline in the same run."""
