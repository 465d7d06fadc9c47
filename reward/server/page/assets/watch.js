export function watchView() {
  return {};
}
