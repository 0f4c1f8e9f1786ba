/** All circuits that can be opened: those of the folder, then those that come with lacewing. */

export function every(home) {
  return [...home.circuits, ...(home.shipped ?? []).map((circuit) => ({ ...circuit, shipped: true }))];
}
