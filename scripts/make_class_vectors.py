"""Compute the class vectors that the package ships for the label bridge; run it when classes or templates change."""

from __future__ import annotations

from safetensors.numpy import save_file

from mmi_tvr.models import label_bridge


def main() -> None:
    label_bridge.SHIPPED.mkdir(exist_ok=True)
    for stale in label_bridge.SHIPPED.glob("*.safetensors"):
        stale.unlink()
    path = label_bridge.SHIPPED / f"label-bridge-{label_bridge.text_fingerprint()}.safetensors"
    save_file(dict(label_bridge.class_texts()), path)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
