// Numbers, times and names as people read them. The sizes read as the server's own pages write them.

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** @param {number} bytes @returns {string} `0 bytes`, `1.1 kB`, `4.2 MB` */
export function humanBytes(bytes) {
  if (bytes < 1000) return bytes === 1 ? '1 byte' : `${Math.round(bytes)} bytes`;
  let value = bytes;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < UNITS.length - 1);
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** @param {number} seconds @returns {string} `20 s`, `3 min`, `2 h 5 min`: no finer than a guess can be */
export function humanDuration(seconds) {
  if (!Number.isFinite(seconds)) return 'a long time';
  if (seconds < 10) return 'a few seconds';
  if (seconds < 55) return `${Math.round(seconds / 5) * 5} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

/** @param {number} number @param {string} one @param {string} [many] @returns {string} `1 file`, `1,200 files` */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** @param {string[]} names @returns {string} `A`, `A and B`, `A, B and C` */
export function listed(names) {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/** @param {string} slug @returns {string} `new-york` as `New York` */
export function placeName(slug) {
  return slug.split('-').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');
}

/** @param {string} name @returns {string} the letters in a file's badge: a short plain extension, else `FILE` */
export function badgeOf(name) {
  const found = /[^]\.([a-z0-9]{1,4})$/iu.exec(name);
  return found ? found[1].toUpperCase() : 'FILE';
}

/** @param {string} mediaType @returns {string} what a file is, roughly, for the colour of its badge */
export function kindOf(mediaType) {
  const [type, kind = ''] = mediaType.toLowerCase().split(';')[0].trim().split('/');
  if (['image', 'video', 'audio', 'text'].includes(type)) return type;
  if (type !== 'application') return 'other';
  if (kind === 'pdf' || /document|word/.test(kind)) return 'document';
  if (/^(json|xml|javascript|toml|yaml)$/.test(kind)) return 'text';
  return /zip|tar|compressed|zstd|xz|rar/.test(kind) ? 'archive' : 'other';
}
