"""Packaging of Blackout. Distribution `blackout-robot`, console script `blackout`."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
ROOMS = ("robot", "perception", "control", "firmware_bridge", "sim")

# On a Jetson OpenCV comes with JetPack (CSI cameras need that build; pip's would hide it, and NumPy 2 breaks it), and
# which ONNX Runtime fits depends on JetPack: tools/setup.sh and docs/gpu.md install it. Not tried on a device yet.
ON_JETSON = Path("/etc/nv_tegra_release").exists()
VISION = [
    "numpy>=1.26",
    "opencv-python>=4.8",
    'onnxruntime-gpu>=1.17; platform_machine == "x86_64" and sys_platform == "linux"',
    'onnxruntime>=1.17; platform_machine != "x86_64" or sys_platform != "linux"',
]

INSTALL = [
    *(["numpy>=1.26,<2"] if ON_JETSON else VISION),
    "pyserial>=3.5",
    "filterpy>=1.4.5",
    "cobs>=1.2",
    "tyro>=0.9",
    "foxglove-sdk>=0.14",
    "mcap>=1.2",
    'tomli>=2.0; python_version < "3.11"',
]

EXTRAS = {
    # MuJoCo is pinned: trials repeat bit for bit only within one version.
    "sim": [
        'mujoco==4.0.0; python_version >= "3.11"',
        'mujoco>=3.2,<4; python_version < "3.11"',
        "joblib>=1.3",
    ],
    "hil": ["unicorn>=2.1"],
    "gpu": ["pycuda>=2024.1", "onnx>=1.16"],
    "train": [
        "torch==2.13.0",
        "onnx>=1.16",
        "onnxslim>=0.1.50",
        "pycocotools>=2.0.8",
        "tflite>=2.10",
        "matplotlib>=3.8",
    ],
    "view": ["rerun-sdk>=0.23"],
    "cluster": ["dask[distributed]>=2024.1"],
    "dev": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "mypy>=1.11",
        "import-linter>=2.0",
        "coverage>=7",
    ],
}

setup(
    name="blackout-robot",
    version="0.1.0",
    description="The on-board brain of a RoboCup Small Size League robot that plays with the overhead cameras off",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[f"{room}{deep}" for room in ROOMS for deep in ("", ".*")]),
    include_package_data=True,
    package_data={
        "robot": ["config/**/*.toml"],
        "perception": [
            "detection/models/*",
            "detection/kernels/*",
            "training/recipes/*.toml",
            "training/splits/*.toml",
        ],
        "firmware_bridge": [
            "firmware/core/**/*.[ch]",
            "firmware/ports/**/*.[ch]",
            "firmware/ports/**/*.ld",
            "protocol/*.toml",
        ],
        "sim": ["world/assets/*"],
    },
    install_requires=INSTALL,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["blackout = robot.cli.main:main"]},
)
