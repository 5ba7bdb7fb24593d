"""Where Neuroglancer shows a source: a port of its own rule, independent of pointshard.

After google/neuroglancer (c0f79b10): `coordinateTransformSpecificationFromJson` and the setter `spec` of
`WatchableCoordinateSpaceTransform` in src/coordinate_transform.ts, and `scaleTransformSubmatrix` in
src/render_coordinate_transform.ts. Lengths are in nm.
"""

import numpy as np

NM = {"m": 1e9, "mm": 1e6, "um": 1e3, "nm": 1.0}


def _space(json):
    return list(json), np.array([scale * NM.get(unit, 1.0) for scale, unit in json.values()])


def shown(transform, names, scales_nm):
    """Output names, and the affine map (matrix, translation) from source positions to the output, for a source with
    these dimension names and sizes."""
    rank = len(names)
    out_names, out_scales = list(names), np.array(scales_nm, float)
    in_scales, linear, moved = out_scales.copy(), np.eye(rank), np.zeros(rank)
    if transform is not None:
        spec_out, spec_out_scales = _space(transform["outputDimensions"])
        spec_rank = len(spec_out)
        spec_in, spec_in_scales = list(names), None
        if "inputDimensions" in transform:
            spec_in, spec_in_scales = _space(transform["inputDimensions"])
        matrix = np.array(transform["matrix"], float) if "matrix" in transform else None
        position = [spec_in.index(n) if n in spec_in else -1 for n in names]
        position = [p if p < transform.get("sourceRank", spec_rank) else -1 for p in position]
        for d, p in enumerate(position):
            if p != -1:
                out_names[d], out_scales[d] = spec_out[p], spec_out_scales[p]
                if spec_in_scales is not None:
                    in_scales[d] = spec_in_scales[p]
        if matrix is not None:
            for row, p in enumerate(position):
                moved[row] = matrix[p, spec_rank] if p != -1 else 0
                for column, q in enumerate(position):
                    if (p == -1) != (q == -1):
                        linear[row, column] = 0
                    elif p != -1:
                        linear[row, column] = matrix[p, q]
    return out_names, linear * in_scales, moved * out_scales


def shown_locally(transform):
    """The same for annotations stored in the state: their space is the input, otherwise the output."""
    space = transform.get("inputDimensions", transform["outputDimensions"])
    names, scales = [str(d) for d in range(len(space))], _space(space)[1]
    inside = {**transform, "inputDimensions": dict(zip(names, space.values()))}
    return shown(inside, names, scales)


def to_xyz(space):
    """The rows of x, y, z."""
    names, linear, moved = space
    rows = [names.index(axis) for axis in "xyz"]
    return linear[rows], moved[rows]
