"""Files of microscopes and OME-Zarr, made without the code that is tested."""

import struct

import numpy as np
import zarr
from pylibCZIrw import czi

CHANNELS = ("DAPI", "GFP")
_TYPES = {"t": "time", "c": "channel"}


def volume(channels=2, depth=3, height=20, width=28, dtype="uint16", seed=7):
    """Samples (C, Z, h, w); no two images look alike."""
    values = np.random.default_rng(seed).random((channels, depth, height, width))
    scale = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (values * scale).astype(dtype)


# CZI


def write_czi(path, *scenes, um=0.5):
    """A CZI of grey (C, Z, h, w) or colour (C, Z, h, w, 3) scenes, by the library of Zeiss."""
    samples = scenes[0]
    with czi.create_czi(str(path)) as file:
        for scene, own in enumerate(scenes):
            for channel, depth in np.ndindex(own.shape[:2]):
                image = np.atleast_3d(own[channel, depth])[..., ::-1]
                plane = {"C": channel, "Z": depth, "T": 0}
                place = (200 * scene, 0)
                file.write(np.ascontiguousarray(image), place, plane, scene=scene)
        scales = {"scale_x": um * 1e-6, "scale_y": um * 1e-6, "scale_z": 1e-6}
        names = dict(enumerate(CHANNELS[: len(samples)]))
        file.write_metadata("test", channel_names=names, **scales)


# LIF


def lif(*images, um=0.25):
    """A LIF of images (C, Z, h, w), named a, b, c."""
    elements, blocks = "", b""
    for k, samples in enumerate(images):
        block = f"MemBlock_{k + 1}"
        elements += _lif_element("abc"[k], block, samples, um)
        name = struct.pack("<I", len(block)) + block.encode("utf-16-le")
        head = b"\x2a" + struct.pack("<Q", samples.nbytes) + b"\x2a" + name
        blocks += struct.pack("<II", 0x70, len(head)) + head + samples.tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="test"><Memory Size="0" '
        f'MemoryBlockID="MemBlock_0"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    head = b"\x2a" + struct.pack("<I", len(xml)) + xml.encode("utf-16-le")
    return struct.pack("<II", 0x70, len(head)) + head + blocks


def _lif_element(name, block, samples, um):
    channels, depth, height, width = samples.shape
    size = samples.dtype.itemsize
    plane = height * width * size
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * size}" '
        'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="Gray" IsLUTInverted="0" '
        f'BytesInc="{k * plane * depth}" BitInc="0"/>'
        for k in range(channels)
    )
    axes = [(1, width, size, um), (2, height, size * width, um), (3, depth, plane, 1.0)]
    dimensions = "".join(
        f'<DimensionDescription DimID="{axis}" NumberOfElements="{length}" Origin="0" '
        f'Length="{step * 1e-6 * (length - 1)}" Unit="m" BitInc="0" BytesInc="{increment}"/>'
        for axis, length, increment, step in axes
        if axis < 3 or length > 1
    )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{described}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{samples.nbytes}" MemoryBlockID="{block}"/><Children/></Element>'
    )


# OME-Zarr


def write_zarr(path, samples, axes="tczyx", version="0.5", um=0.5, chunks=None, **said):
    """An OME-Zarr of samples along these axes, by zarr."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    array = group.create_array(
        "0",
        shape=samples.shape,
        dtype=samples.dtype,
        chunks=chunks or (*(1,) * (samples.ndim - 2), *samples.shape[-2:]),
        shards=said.pop("shards", None),
    )
    array[...] = samples
    image = {
        "axes": [
            {"name": name, "type": _TYPES.get(name, "space")}
            | ({"unit": "micrometer"} if name in "zyx" else {})
            for name in axes
        ],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [um if name in "yx" else 1.0 for name in axes]}
                ],
            }
        ],
        "version": version,
    }
    ome = {"multiscales": [image], "omero": {"channels": [{"label": one} for one in CHANNELS]}}
    ome |= said
    group.attrs.update({"ome": {"version": "0.5", **ome}} if version == "0.5" else ome)
    return str(path)


# ND2


def nd2(*positions, um=0.5, written=None):
    """An ND2 (version 2.1) of samples (C, Z, h, w), of which so many images were written."""
    samples = np.concatenate(positions, axis=1)
    channels, depth, height, width = positions[0].shape
    written = samples.shape[1] if written is None else written
    size = samples.dtype.itemsize
    planes = "".join(
        f'<a{k}><sDescription runtype="CLxStringW" value="{name}"/>'
        '<uiCompCount runtype="lx_uint32" value="1"/><pFluorescentProbe><m_ExcitationSpectrum>'
        '<uiCount runtype="lx_uint32" value="0"/></m_ExcitationSpectrum></pFluorescentProbe>'
        f"</a{k}>"
        for k, name in enumerate(CHANNELS[:channels])
    )
    chunks = {
        "ImageAttributes!": _variant(
            uiWidth=width,
            uiHeight=height,
            uiWidthBytes=width * channels * size,
            uiComp=channels,
            uiBpcInMemory=8 * size,
            uiBpcSignificant=8 * size,
            uiSequenceCount=written,
            eCompression=2,
        ),
        "ImageMetadataSeq|0!": _variant(
            '<bCalibrated runtype="bool" value="true"/>'
            f'<dCalibration runtype="double" value="{um}"/><sPicturePlanes>'
            f'<uiCount runtype="lx_uint32" value="{channels}"/><sPlaneNew>{planes}</sPlaneNew>'
            "</sPicturePlanes>"
        ),
        "ImageMetadata!": _nd2_loops(len(positions), depth),
    }
    for k in range(written):
        pixels = np.ascontiguousarray(samples[:, k].transpose(1, 2, 0)).tobytes()
        chunks[f"ImageDataSeq|{k}!"] = bytes(8) + pixels
    start = b"ND2 FILE SIGNATURE CHUNK NAME01!"
    file = bytearray(struct.pack("<IIQ", 0x0ABECEDA, 32, 64) + start + b"Ver2.1".ljust(64, b"\0"))
    places = b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(file), len(data))
        file += _nd2_chunk(name.encode(), data)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    at = len(file)
    file += _nd2_chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + end)
    return bytes(file + end + struct.pack("<Q", at))


def _nd2_loops(positions, depth):
    along = f'<uiCount runtype="lx_uint32" value="{depth}"/><dZStep runtype="double" value="1.0"/>'
    if positions == 1:
        return _variant(f"<uLoopPars>{along}</uLoopPars>", eType=4)
    points = "".join(
        f'<a{k}><dPosX runtype="double" value="{k}.0"/></a{k}>' for k in range(positions)
    )
    inner = f'<eType runtype="lx_uint32" value="4"/><uLoopPars>{along}</uLoopPars>'
    return _variant(
        f"<uLoopPars><Points>{points}</Points></uLoopPars>"
        f"<ppNextLevelEx><a0>{inner}</a0></ppNextLevelEx>",
        eType=2,
    )


def _nd2_chunk(name, data):
    return struct.pack("<IIQ", 0x0ABECEDA, 4072, len(data)) + name.ljust(4072, b"\0") + data


def _variant(inner="", **numbers):
    values = "".join(
        f'<{name} runtype="lx_uint32" value="{value}"/>' for name, value in numbers.items()
    )
    return f'<variant version="1.0"><no_name>{values}{inner}</no_name></variant>'.encode()
