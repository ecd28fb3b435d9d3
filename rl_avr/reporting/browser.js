"use strict";
(function () {
  const problems = Array.from(document.querySelectorAll(".problem"));
  const controls = Array.from(document.querySelectorAll(".filter [name]"));
  const texts = problems.map((problem) => problem.textContent.toLowerCase());
  const tags = problems.map((problem) => JSON.parse(problem.dataset.tags));

  function matches(index, wanted) {
    const kinds = problems[index].dataset.kinds.split(" ");
    return Object.entries(wanted).every(([name, value]) => {
      if (name === "kind") return kinds.includes(value);
      if (name === "text") return texts[index].includes(value.toLowerCase());
      return tags[index].some((tag) => tag[0] === name.slice(4) && tag[1] === value);
    });
  }

  function apply() {
    const wanted = {};
    for (const control of controls) {
      if (control.value) wanted[control.name] = control.value;
    }
    let shown = 0;
    problems.forEach((problem, index) => {
      const isShown = matches(index, wanted);
      problem.hidden = !isShown;
      shown += isShown;
      for (const chain of problem.querySelectorAll(".chain")) {
        const isMeant = wanted.kind && chain.dataset.kind === wanted.kind;
        chain.hidden = Boolean(wanted.kind) && !isMeant;
        if (isMeant) chain.open = true;
      }
    });
    document.getElementById("count").textContent = shown + " of " + problems.length + " shown";
    document.getElementById("none").hidden = shown > 0;
    const link = new URLSearchParams(wanted).toString();
    history.replaceState(null, "", link ? "#" + link : location.pathname + location.search);
  }

  function fromLink() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const control of controls) {
      control.value = wanted.get(control.name) || "";
      if (control.selectedIndex === -1) control.value = "";
    }
    apply();
  }

  for (const control of controls) control.addEventListener("input", apply);
  document.getElementById("reset").addEventListener("click", () => {
    for (const control of controls) control.value = "";
    apply();
  });
  window.addEventListener("hashchange", fromLink);
  document.querySelector(".filter").hidden = false;
  fromLink();
})();
