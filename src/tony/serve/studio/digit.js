// A drawing as scikit-learn's handwritten digits have it: 8x8 cells, 0 to 16 ink each.
//
// Those digits were made from 32x32 bitmaps (NIST form-based handprint preprocessing: the bounding box is
// scaled to 20 x 32, strokes are made thicker or thinner until the ink is alike), counting ink in 4x4
// blocks. Measured on the 1,797 digits: mean ink is 0.305 of the square, and between 0.296 and 0.322 for
// every class; columns 1 to 6 and all rows hold ink; slant is taken out by a shear that puts the leftmost ends
// at the top and at the bottom above each other. So the strokes are sheared like that, laid into a 20 x 32
// box, and drawn with the pen thickness that gives this share of ink, whatever size they were drawn at.

export const SIDE = 8;
export const LEVELS = 17;
const FRAME = 32;
const BOX_WIDTH = 20;
const INK = 0.305;
const THINNEST = 2.5;
const THICKEST = 9;
const EDGE = 0.1; // of the height: what counts as the top and the bottom end
const NARROW = 0.4; // width / height below which a shape is a bar: widening would make it a blot

/** 64 ink levels 0..16, row by row, of strokes: lists of [x, y] in any unit. All 0 without strokes. */
export function digitOf(drawn) {
  if (!drawn.flat().length) return new Uint8Array(SIDE * SIDE);
  const strokes = upright(drawn);
  let low = THINNEST;
  let high = THICKEST;
  for (let i = 0; i < 12; i += 1) { // ink grows with thickness: bisection
    const thickness = (low + high) / 2;
    if (ink(bitmap(strokes, thickness)) < INK) low = thickness;
    else high = thickness;
  }
  return counts(bitmap(strokes, (low + high) / 2));
}

/** The strokes sheared until their leftmost ends at the top and at the bottom are above each other. */
function upright(strokes) {
  const points = strokes.flat();
  const ys = points.map((p) => p[1]);
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const band = EDGE * (bottom - top);
  const left = (isAt) => Math.min(...points.filter((p) => isAt(p[1])).map((p) => p[0]));
  const lean = left((y) => y >= bottom - band) - left((y) => y <= top + band);
  const slope = bottom > top ? lean / (bottom - top) : 0;
  return strokes.map((stroke) => stroke.map(([x, y]) => [x - slope * (y - top), y]));
}

/** The 32x32 bitmap (1 = ink) of `strokes` scaled into the frame and drawn `thickness` pixels wide. */
function bitmap(strokes, thickness) {
  const points = strokes.flat();
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const width = right - left;
  const height = bottom - top;
  const innerHeight = FRAME - thickness;
  const innerWidth = BOX_WIDTH - thickness;
  let scaleY = height > 0 ? innerHeight / height : 0;
  let scaleX = width > 0 ? innerWidth / width : 0;
  if (width < NARROW * height) scaleX = scaleY;
  // A flat shape (a dash) is not blown up to full height.
  if (height < NARROW * width) scaleY = scaleX;
  const at = ([x, y]) => [
    FRAME / 2 + (x - (left + right) / 2) * scaleX,
    FRAME / 2 + (y - (top + bottom) / 2) * scaleY,
  ];
  const pixels = new Uint8Array(FRAME * FRAME);
  for (const stroke of strokes) {
    const path = stroke.map(at);
    for (let i = 0; i < path.length; i += 1) line(pixels, path[Math.max(0, i - 1)], path[i], thickness / 2);
  }
  return pixels;
}

/** Ink wherever a pixel's centre is within `radius` of the line from a to b. */
function line(pixels, a, b, radius) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const square = dx * dx + dy * dy;
  const clamp = (v) => Math.max(0, Math.min(FRAME - 1, v));
  const y1 = clamp(Math.ceil(Math.max(a[1], b[1]) + radius));
  const x1 = clamp(Math.ceil(Math.max(a[0], b[0]) + radius));
  for (let y = clamp(Math.floor(Math.min(a[1], b[1]) - radius)); y <= y1; y += 1) {
    for (let x = clamp(Math.floor(Math.min(a[0], b[0]) - radius)); x <= x1; x += 1) {
      const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
      const t = square ? Math.max(0, Math.min(1, (px * dx + py * dy) / square)) : 0;
      if ((px - t * dx) ** 2 + (py - t * dy) ** 2 <= radius * radius) pixels[y * FRAME + x] = 1;
    }
  }
}

function ink(pixels) {
  return pixels.reduce((sum, p) => sum + p, 0) / pixels.length;
}

/** Ink in each 4x4 block of the bitmap: 0..16. */
function counts(pixels) {
  const cell = FRAME / SIDE;
  const levels = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < FRAME; y += 1) {
    for (let x = 0; x < FRAME; x += 1) {
      levels[Math.floor(y / cell) * SIDE + Math.floor(x / cell)] += pixels[y * FRAME + x];
    }
  }
  return levels;
}
