import uPlot from 'uplot';
import { byId, element, table } from './dom.js';

const HEIGHT = 160;
/** Moves the cursors of all charts together. */
const SYNC_KEY = 'time';
const ROWS_IN_TABLE = 60;
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** Line of a chart, or layer of a stacked chart. */
export interface Line {
  readonly label: string;
  /** Custom property of the stylesheet that contains the colour. */
  readonly colour: string;
  readonly dashed?: boolean;
}

interface ChartOptions {
  /** Formats a value. */
  readonly text: (value: number) => string;
  /** Whether the lines are stacked. */
  readonly stacked?: boolean;
  /** Smallest upper end of the axis. */
  readonly top?: number;
  /** Whether the increments of the axis are powers of two. */
  readonly binary?: boolean;
  /** Lower end of a logarithmic axis. Default: a linear axis from 0. */
  readonly logFrom?: number;
}

/** Values of a line, oldest first; `null` for a gap. */
type Column = readonly (number | null)[];

/** Time series chart in a `<figure>` of the page. The values are also available as a table, for screen readers. */
export class Chart {
  readonly #figure: HTMLElement;
  readonly #options: ChartOptions;
  readonly #details = element('details');
  readonly #canvas = element('div');
  #plot: uPlot | undefined;
  #times: readonly number[] = [];
  #columns: readonly Column[] = [];
  #lines: readonly Line[] = [];

  constructor(id: string, options: ChartOptions) {
    this.#figure = byId(id);
    this.#options = options;
    const caption = this.#figure.querySelector('figcaption')?.textContent ?? '';
    this.#canvas.setAttribute('role', 'img');
    this.#canvas.setAttribute('aria-label', `${caption}: chart. The values are in the table below.`);
    this.#details.append(element('summary', 'Show as table'));
    this.#details.addEventListener('toggle', () => this.#fillTable(caption));
    this.#figure.append(this.#canvas, this.#details);
    new ResizeObserver(() => this.#resize()).observe(this.#figure);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  /** @param times in seconds since the Unix epoch */
  update(times: readonly number[], lines: readonly Line[], columns: readonly Column[]): void {
    const isSame =
      lines.length === this.#lines.length && lines.every(({ label }, i) => label === this.#lines[i]?.label);
    this.#times = times;
    this.#lines = lines;
    this.#columns = lines.map((_line, index) => columns[index] ?? times.map(() => 0));
    if (isSame) this.#plot?.setData(this.#data());
    else this.#draw();
  }

  #data(): uPlot.AlignedData {
    // The types of uPlot require mutable arrays, but uPlot does not write to them.
    if (!this.#options.stacked) return [this.#times, ...this.#columns] as unknown as uPlot.AlignedData;
    const sums = this.#times.map(() => 0);
    const layers = this.#columns.map((column) =>
      column.map((value, index) => {
        sums[index] = (sums[index] ?? 0) + (value ?? 0);
        return sums[index] ?? 0;
      }),
    );
    return [this.#times, ...layers] as unknown as uPlot.AlignedData;
  }

  /** Creates the plot again, because uPlot takes colours only at creation. */
  #draw(): void {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const lines = this.#lines;
    const { text, stacked, binary, logFrom, top = 0 } = this.#options;
    const grid = { stroke: colour('line'), width: 1 };
    const axis = { stroke: colour('quiet'), grid, ticks: grid, font: '12px system-ui, sans-serif' };
    this.#plot?.destroy();
    this.#plot = undefined;
    if (lines.length === 0) return;
    this.#plot = new uPlot(
      {
        width: this.#width(),
        height: HEIGHT,
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: SYNC_KEY } },
        legend: { markers: { width: 2, stroke: (_plot, index) => colour(lines[index - 1]?.colour ?? 'quiet') } },
        scales: {
          y:
            logFrom === undefined
              ? { range: (_plot, _min, max) => [0, Math.max(top, (max ?? 0) * 1.08) || 1] }
              : { distr: 3, range: (_plot, _min, max) => [logFrom, nextPowerOfTen(Math.max(top, max ?? 0))] },
        },
        axes: [
          {
            ...axis,
            space: 70,
            values: (_plot, splits, _axis, _space, step) => splits.map((time) => tickText(time, step)),
          },
          {
            ...axis,
            ...(binary ? { incrs: POWERS_OF_TWO } : {}),
            ...(logFrom === undefined
              ? {}
              : {
                  // The default filter of a logarithmic axis hides some ticks.
                  filter: (_plot: uPlot, splits: number[]) => splits,
                  splits: (_plot: uPlot, _axis: number, min: number, max: number) => powersOfTen(min, max),
                }),
            size: 84,
            values: (_plot, values) => values.map((value) => text(value)),
          },
        ],
        series: [
          { label: 'Time', value: (_plot, time: number | null) => (time === null ? 'now' : timeText(time)) },
          ...lines.map((line, index) => ({
            label: line.label,
            stroke: colour(line.colour),
            // The lines of empty layers would be drawn over the other layers.
            width: stacked ? 0 : 1.5,
            points: { show: false },
            ...(line.dashed ? { dash: [5, 4] } : {}),
            ...(stacked && index === 0 ? { fill: `${colour(line.colour)}99` } : {}),
            value: (_plot: uPlot, _value: number | null, _series: number, at: number | null) =>
              this.#valueAt(index, at),
          })),
        ],
        // Each layer is filled down to the layer below it.
        bands: stacked
          ? lines.slice(1).map((line, index) => ({ series: [index + 2, index + 1], fill: `${colour(line.colour)}99` }))
          : [],
      },
      this.#data(),
      this.#canvas,
    );
  }

  /** Returns the value for the legend: not the stacked sum, and the latest value if no point is selected. */
  #valueAt(line: number, at: number | null): string {
    const column = this.#columns[line];
    const value = at === null ? column?.at(-1) : column?.[at];
    return value === undefined || value === null ? '–' : this.#options.text(value);
  }

  #width(): number {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#figure);
    return Math.max(200, this.#figure.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight));
  }

  #resize(): void {
    const width = this.#width();
    if (this.#plot !== undefined && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #fillTable(caption: string): void {
    this.#details.querySelector('.scroll')?.remove();
    if (!this.#details.open) return;
    const lines = this.#lines;
    const { text } = this.#options;
    const first = Math.max(0, this.#times.length - ROWS_IN_TABLE);
    const rows = this.#times.slice(first).map((time, index) => [
      timeText(time),
      ...lines.map((_line, line) => {
        const value = this.#columns[line]?.[first + index];
        return value === undefined || value === null ? '–' : text(value);
      }),
    ]);
    const scroll = element('div', '', 'scroll');
    scroll.tabIndex = 0;
    scroll.append(table(caption, ['Time', ...lines.map(({ label }) => label)], rows.toReversed()));
    this.#details.append(scroll);
  }
}

function nextPowerOfTen(value: number): number {
  return 10 ** Math.ceil(Math.log10(value));
}

function powersOfTen(min: number, max: number): number[] {
  const powers: number[] = [];
  for (let power = Math.round(Math.log10(min)); power <= Math.round(Math.log10(max)); power++) powers.push(10 ** power);
  return powers;
}

// Without a locale, the browser uses the format and the time zone of the reader.
const MINUTES = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const SECONDS = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const MOMENT = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});

function tickText(seconds: number, stepSeconds: number): string {
  return (stepSeconds < 60 ? SECONDS : MINUTES).format(seconds * 1000);
}

function timeText(seconds: number): string {
  return MOMENT.format(seconds * 1000);
}
