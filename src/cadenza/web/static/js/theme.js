// Sets the chosen theme before anything is painted; a plain script, since modules run later.
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
