# Writes the sets of `unseen.py` that R packages hold: Rscript unseen_sets.R FOLDER
# Wants caret, mlbench, kernlab, pls, rpart, nlme and survival.
folder <- commandArgs(trailingOnly = TRUE)[1]
keep <- function(X, y, name) {
  frame <- as.data.frame(X)
  frame$target__ <- y
  write.csv(frame, file.path(folder, paste0(name, ".csv")), row.names = FALSE)
}
from <- function(package, ...) data(list = c(...), package = package, envir = globalenv())
set.seed(1)
from("caret", "cox2", "dhfr", "mdrr", "oil", "scat", "segmentationData", "cars", "Sacramento")
keep(cox2Descr, cox2Class, "c_cox2")
keep(cox2Descr, log(cox2IC50), "r_cox2ic50")
keep(dhfr[, -1], dhfr$Y, "c_dhfr")
keep(mdrrDescr, mdrrClass, "c_mdrr")
keep(scat[, -1], scat$Species, "c_scat")
keep(segmentationData[, -(1:3)], segmentationData$Class, "c_segmentation")
keep(cars[, -1], log(cars$Price), "r_carprice")
keep(Sacramento[, c("city", "beds", "baths", "sqft", "type", "latitude", "longitude")],
     log(Sacramento$price), "r_sacramento")
from("mlbench", "BreastCancer", "Glass", "LetterRecognition", "Soybean", "Vehicle", "Vowel",
     "Zoo", "Ozone", "Servo")
keep(sapply(BreastCancer[, 2:10], as.numeric), BreastCancer$Class, "c_breastcancer")
keep(Glass[, -10], Glass$Type, "c_glass")
some <- sample(nrow(LetterRecognition), 2000)
keep(LetterRecognition[some, -1], LetterRecognition$lettr[some], "c_letter")
keep(Soybean[, -1], Soybean$Class, "c_soybean")
keep(Vehicle[, -19], Vehicle$Class, "c_vehicle")
keep(Vowel[, -11], Vowel$Class, "c_vowel")
keep(Zoo[, -17], Zoo$type, "c_zoo")
keep(Ozone[, -4], Ozone$V4, "r_ozone")
keep(Servo[, -5], Servo$Class, "r_servo")
from("kernlab", "musk", "promotergene", "ticdata", "income")
keep(musk[, -ncol(musk)], musk$Class, "c_musk")
keep(promotergene[, -1], promotergene$Class, "c_promoter")
some <- sample(nrow(ticdata), 2000)
keep(ticdata[some, -86], ticdata$CARAVAN[some], "c_caravan")
some <- sample(nrow(income), 2000)
keep(income[some, -1], income$INCOME[some], "c_income")
from("pls", "yarn", "mayonnaise")
keep(unclass(yarn$NIR), yarn$density, "r_yarn")
keep(unclass(mayonnaise$NIR), mayonnaise$oil.type, "c_mayonnaise")
from("rpart", "car90", "stagec")
keep(car90[, !(names(car90) %in% c("Price", "Model2"))], log(car90$Price), "r_car90")
keep(stagec[, -2], stagec$pgstat, "c_stagec")
from("nlme", "bdf")
keep(bdf[, c("sex", "Minority", "repeatgr", "IQ.verb", "IQ.perf", "ses", "denomina", "langPRET",
             "aritPRET", "natitest", "meetings", "mixedgra", "percmino")], bdf$langPOST, "r_bdf")
library(survival)
keep(rotterdam[, c("age", "meno", "size", "grade", "nodes", "pgr", "er", "hormon", "chemo", "year")],
     rotterdam$death, "c_rotterdam")
keep(gbsg[, c("age", "meno", "size", "grade", "nodes", "pgr", "er", "hormon")], gbsg$status, "c_gbsg")
keep(flchain[, c("age", "sex", "sample.yr", "kappa", "lambda", "flc.grp", "creatinine", "mgus")],
     flchain$death, "c_flchain")
keep(pbc[, c("trt", "age", "sex", "ascites", "hepato", "spiders", "edema", "bili", "chol", "albumin",
             "copper", "alk.phos", "ast", "trig", "platelet", "protime", "stage")],
     pbc$status == 2, "c_pbc")
