/** Parses the Prometheus exposition format. The keys are series as written: `name{label="value"}`. */
export function parseMetrics(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const at = line.lastIndexOf(' ');
    const name = line.slice(0, at);
    if (series.has(name)) throw new Error(`duplicate series: ${name}`);
    series.set(name, Number(line.slice(at + 1)));
  }
  return series;
}
