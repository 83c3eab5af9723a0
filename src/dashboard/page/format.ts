const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Formats a number of bytes with three digits and a unit. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${threeDigits(value, unit === 0)} ${UNITS[unit]}`;
}

export function countText(count: number): string {
  return Math.round(count).toLocaleString('en');
}

export function rateText(rate: number): string {
  return rate >= 100 || rate === 0 ? countText(rate) : rate.toFixed(1);
}

export function secondsText(seconds: number): string {
  if (seconds < 0.001) return `${threeDigits(seconds * 1e6, true)} µs`;
  if (seconds < 1) return `${threeDigits(seconds * 1e3, false)} ms`;
  return `${threeDigits(seconds, false)} s`;
}

export function shareText(share: number): string {
  const percent = share * 100;
  return `${percent > 0 && percent < 10 ? percent.toFixed(1) : Math.floor(percent)}%`;
}

function threeDigits(value: number, isWhole: boolean): string {
  if (isWhole || value >= 100) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Formats a time in the format and time zone of the reader, with the date unless it is today. */
export function momentText(time: number): string {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}
