// The filter of the gallery: radio buttons decide which claims are shown; the address remembers the choice.
const form = document.getElementById("filter");
if (form) {
  const claims = [...document.querySelectorAll(".claim")];
  const show = () => {
    const { chapter, verdict } = Object.fromEntries(new FormData(form));
    for (const claim of claims) {
      const here = chapter === "all" || claim.dataset.chapters.split(" ").includes(chapter);
      claim.hidden = !(here && (verdict === "all" || claim.dataset.verdict === verdict));
    }
    const count = claims.filter((claim) => !claim.hidden).length;
    document.getElementById("count").textContent = count === 1 ? "1 claim" : `${count} claims`;
    const query = new URLSearchParams();
    if (chapter !== "all") query.set("chapter", chapter);
    if (verdict !== "all") query.set("verdict", verdict);
    history.replaceState(null, "", `${location.pathname}${query.size ? "?" : ""}${query}${location.hash}`);
  };
  for (const [name, value] of new URLSearchParams(location.search)) {
    const input = form.querySelector(`input[name="${CSS.escape(name)}"][value="${CSS.escape(value)}"]`);
    if (input) input.checked = true;
  }
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
