// What a content is made of: its pieces and the digest of each.

/**
 * @typedef {object} Plan
 * @property {string} sha1
 * @property {number} size in bytes
 * @property {number} pieceBytes length of each piece but the last
 * @property {string[]} digests SHA-256 of each piece, in hex
 */

/** @param {Plan} plan @param {number} index @returns {number} length of a piece in bytes */
export const lengthOf = (plan, index) => Math.min(plan.pieceBytes, plan.size - index * plan.pieceBytes);

/** @param {BufferSource} bytes @returns {Promise<string>} SHA-256 in hex */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
