"""Names for points of MediaPipe's 478-point face mesh (468 surface points and 2 x 5 iris points).

"Left" is the left side of the picture. Index lists are ordered; other rooms rely on the order of LIPS.
"""

from __future__ import annotations

EYE_OUTER_LEFT, EYE_OUTER_RIGHT = 33, 263
LIP_INNER_TOP, LIP_INNER_BOTTOM = 13, 14
MOUTH_LEFT, MOUTH_RIGHT = 61, 291
FOREHEAD, CHIN, NOSE_BRIDGE = 10, 152, 168
TEMPLES = (234, 454)

LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""The outer lip contour, closed, going round."""

LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
"""The inner lip contours from the left corner to the right one; equal places face each other."""

LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
"""40 points: outer contour, then inner contour."""

STABLE = (
    *(33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 9, 8, 54, 284, 103, 332, 67, 297),
    *(109, 338, 127, 356, 70, 63, 105, 300, 293, 334, 21, 251, 162, 389, 193, 417, 122, 351),
)
"""36 points that speech does not move: eye corners, nose bridge, forehead, temples."""

JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)

CHEEK = (
    *(205, 425, 187, 411, 207, 427, 216, 436, 212, 432, 202, 422, 204, 424, 194, 418, 200, 199, 175, 208, 428),
    *(211, 431, 210, 430, 169, 394, 32, 262, 201, 421, 83, 313, 18, 43, 273, 57, 287, 186, 410, 92, 322, 165),
    *(391, 167, 393, 164, 135, 364, 138, 367, 192, 416, 214, 434, 140, 369, 171, 396),
)

LOWER = (*LIPS, *JAW, *CHEEK)
"""Everything that speech moves; the lips come first."""

UPPER = (
    *(2, 98, 327, 97, 326, 1, 4, 5, 195, 197, 6, 168, 49, 279, 48, 278, 129, 358, 203, 423, 50, 280, 123, 352),
    *(147, 376, 93, 323, 234, 454, 127, 356, 116, 345, 117, 346, 118, 347, 119, 348, 120, 349, 100, 329, 36, 266),
    *(33, 133, 362, 263, 145, 374, 23, 253),
)
"""Points around the lower face that hold still while it is warped."""

LOWER_FACE_OUTLINE = (
    *(2, 326, 327, 423, 425, 411, 434, 364, 394, 395, 369, 396),
    *(175, 171, 140, 170, 169, 135, 214, 187, 205, 203, 98, 97),
)
"""Polygon under the nose and inside the jaw: where a mouth may be replaced."""

MIRRORED_PAIRS = ((33, 263), (133, 362), (127, 356), (54, 284), (103, 332), (162, 389), (21, 251), (70, 300))
"""(left, right) partners whose difference points along the head's own x axis."""

LEFT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_EYE_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
RIGHT_EYE_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
"""The edges of the lids from each eye's left corner to its right one; equal places face each other."""

LEFT_BROW_LOWER = (46, 53, 52, 65, 55)
RIGHT_BROW_LOWER = (285, 295, 282, 283, 276)
"""The lower edges of the brows, left to right."""

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The outline of the face, closed, going round from the forehead."""

# Where the attention model's refined outputs go among the 468 points, in the order of its outputs.
REFINED_LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
REFINED_LEFT_EYE = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26),
    *(112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223),
    *(222, 221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66),
    *(107, 55, 193),
)
REFINED_RIGHT_EYE = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253),
    *(252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342),
    *(445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465),
    *(383, 300, 293, 334, 296, 336, 285, 417),
)
