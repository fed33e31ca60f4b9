// Every way a person gives files to the page: the field, a folder, a drop anywhere, the clipboard.

/** @typedef {{file: File, path: string}} Picked `path` has the folders that were given with it */

/** Reading a very large folder stops here: the page would only become slow. */
export const MOST_FILES = 20_000;

/** @param {Iterable<File>} files @returns {Picked[]} */
export function fromField(files) {
  return Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/**
 * What was dropped, folders with all that is in them. Must be called in the event itself: a browser
 * takes the entries back afterwards.
 * @param {DataTransfer} transfer
 * @returns {Promise<Picked[]>}
 */
export async function fromDrop(transfer) {
  const given = Array.from(transfer.items)
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  /** @type {Picked[]} */
  const picked = [];
  for (const entry of given) {
    if (entry instanceof File) picked.push({ file: entry, path: entry.name });
    else if (entry) await walk(entry, picked);
  }
  return picked;
}

/** @param {FileSystemEntry} entry @param {Picked[]} picked */
async function walk(entry, picked) {
  if (picked.length >= MOST_FILES) return;
  if (entry.isFile) {
    /** @type {File} */
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    picked.push({ file, path: entry.fullPath.replace(/^\//, '') || file.name });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // A hundred at a time, until there is none.
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return;
    for (const child of entries) await walk(child, picked);
  }
}

/** @param {DataTransfer | null} clipboard @returns {Picked[]} */
export function fromClipboard(clipboard) {
  return Array.from(clipboard?.files ?? [], (file) => {
    // A picture from a program has no name of its own: browsers call every one of them image.png.
    if (file.name !== 'image.png') return { file, path: file.name };
    const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
    const name = `pasted ${now.slice(0, 10)} ${now.slice(11, 19).replaceAll(':', '.')}.png`;
    return { file: new File([file], name, { type: file.type, lastModified: file.lastModified }), path: name };
  });
}

/**
 * Takes files dropped anywhere on the page, and shows that it would.
 * @param {(files: Picked[]) => void} onFiles
 * @param {(error: unknown) => void} onError
 */
export function onDrop(onFiles, onError) {
  const root = document.documentElement;
  // Enter and leave come for every element on the way; only the last leave ends it.
  let depth = 0;
  const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files') ?? false;
  const show = (/** @type {boolean} */ is) => root.classList.toggle('dropping', is);
  addEventListener('dragenter', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth += 1;
    show(true);
  });
  addEventListener('dragover', (event) => {
    if (!carries(event) || !event.dataTransfer) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  });
  addEventListener('dragleave', (event) => {
    if (!carries(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) show(false);
  });
  addEventListener('drop', (event) => {
    if (!carries(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    show(false);
    fromDrop(event.dataTransfer).then(onFiles, onError);
  });
}
