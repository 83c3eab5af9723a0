/** Position and size in pixels. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Divides a rectangle into parts with areas proportional to `weights`, which are in descending order, and with aspect
 * ratios close to 1. Implements Bruls, Huizing and van Wijk, "Squarified treemaps" (2000): rows are laid out along the
 * shorter side, and a row grows as long as that improves its worst aspect ratio.
 */
export function squarify(weights: readonly number[], space: Rectangle): Rectangle[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const places: Rectangle[] = [];
  let { x, y, width, height } = space;
  const scale = total > 0 ? (width * height) / total : 0;
  for (let start = 0; start < weights.length; ) {
    const side = Math.min(width, height);
    let end = start;
    let area = 0;
    let worst = Number.POSITIVE_INFINITY;
    while (end < weights.length) {
      const more = area + (weights[end] ?? 0) * scale;
      const largest = (weights[start] ?? 0) * scale;
      const smallest = (weights[end] ?? 0) * scale;
      const ratio = Math.max((side * side * largest) / (more * more), (more * more) / (side * side * smallest));
      if (ratio > worst) break;
      worst = ratio;
      area = more;
      end++;
    }
    const thickness = side > 0 ? area / side : 0;
    const isColumn = width >= height;
    let along = isColumn ? y : x;
    for (let index = start; index < end; index++) {
      const length = thickness > 0 ? ((weights[index] ?? 0) * scale) / thickness : 0;
      places.push(
        isColumn
          ? { x, y: along, width: thickness, height: length }
          : { x: along, y, width: length, height: thickness },
      );
      along += length;
    }
    if (isColumn) {
      x += thickness;
      width -= thickness;
    } else {
      y += thickness;
      height -= thickness;
    }
    start = end;
  }
  return places;
}
